// Package reference serves relays and tunnels written in the plainest way: whole
// messages, fresh buffers, a mutex around the writer, encoding/json. It has no policy,
// no limits and no manners. It is a unit of measure: a machine's speed cancels out of a
// ratio to it. So it is not to be made faster. It imports nothing of the project.
package reference
