// Package expose is the command that makes local services public: wsproxy expose.
//
// It opens a tunnel for each target ([Run]), joins the connections that come to the
// services (packages tap, rawtcp and site), writes what goes on (package display),
// shows requests on a page (package inspect), and opens a tunnel that has ended anew,
// for as long as that makes sense.
//
// It knows the client's public package alone, and nothing of the server.
package expose
