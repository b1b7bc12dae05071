// Package load has the loads: each puts one kind of work on a server for some seconds
// and reports what that cost the server, and how long it took. A load is a name and
// flags, which the table's rows, the comparison and the command line have alike. It
// stands on wire and measure, and knows a server by its address and process alone.
package load
