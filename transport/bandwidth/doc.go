// Package bandwidth bounds how many bytes a second the WebSockets of one user pass,
// each way (MAX_BYTES_PER_SECOND_PER_USER), and shares them fairly between these.
//
// The edge opens a Share for each WebSocket, and package wsock asks that before each
// transfer and says after it how much it was. It knows nothing of the project.
package bandwidth
