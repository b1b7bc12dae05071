package forward

import "wsproxy/transport/http1"

// decodeChunked returns the body that a chunked one stands for, and whether b was
// one, from its first byte to its last. Any other b comes back as it is: then it was
// decoded before. It overwrites b. A trailer is dropped.
func decodeChunked(b []byte) (body []byte, ok bool) {
	if !eachChunk(b, func([]byte) {}) {
		return b, false
	}
	body = b[:0] // what is written is always behind what is read
	eachChunk(b, func(data []byte) { body = append(body, data...) })
	return body, true
}

// eachChunk calls take with the data of each chunk, and reports whether all of b was
// a chunked body.
func eachChunk(b []byte, take func(data []byte)) bool {
	var chunks http1.Chunks
	for len(b) > 0 && !chunks.Done() {
		data, rest, err := chunks.Next(b)
		if err != nil {
			return false
		}
		take(data)
		b = rest
	}
	return chunks.Done() && len(b) == 0
}
