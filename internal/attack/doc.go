// Command attack runs attacks against the binary of the server, each beside a
// well-behaved neighbour, and says whether the neighbour noticed and whether
// the server stayed within the memory that compose.yaml gives it.
//
// It is several processes of one program. The one that was started keeps the
// time, measures, and judges. It starts, anew for each attack:
//
//   - the server, through the role "launch", which puts the process into a
//     memory group of its own and bounds its descriptors before it becomes the
//     server;
//   - the neighbour, role "neighbour", of the same priority as the server: an
//     attack's own processor time must not look like a slow server;
//   - the attacker, role "play", of a lower priority. What it holds ends with it.
//
// Clients have their own source addresses within 127.0.0.0/8, because the limits
// count addresses. Nothing leaves the machine.
//
// Only Linux has what this needs. Without root there is no memory group (the
// resident size is sampled instead) and no attack that needs a name of its own.
package main
