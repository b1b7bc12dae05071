// Package screen is what commands that write to a terminal have in common: what strangers have
// chosen as text that a terminal doesn't obey, sizes for people, and whether a terminal takes
// control sequences. It is called by command/expose and its display, and by command/top, and
// knows nothing of the project.
package screen
