// Package inspect keeps the last requests of all tunnels with heads and the front of
// their bodies, shows them on a page of this machine, and asks a service again
// ("replay"), also with changes. It is called by package expose.
//
// What strangers have sent is shown as text alone. The page is for the user of this
// machine: other pages in the same browser reach neither it nor what it calls.
package inspect
