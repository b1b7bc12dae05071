// Package measure has what figures are made of: histograms of durations, the
// processor time and memory of processes, and reports. The loads and the runs that
// are longer than one load stand on it. It knows nothing of servers or connections.
//
// Only Linux has what it reads, below /proc.
package measure
