// Package buffers counts the buffers that tests leave behind. It is no part of
// testkit because package wsock itself is tested with that.
//
// Only tests import it, and it knows wsock alone.
package buffers
