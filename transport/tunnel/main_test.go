package tunnel

import (
	"slices"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/rest"
)

// pooled knows which buffers of the pool are alive.
var pooled buffers.BufferCount

func TestMain(m *testing.M) {
	rest.After = 5 * time.Millisecond // all tests may meet sessions at rest
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// join returns one slice of all these bytes.
func join(pieces ...[]byte) []byte { return slices.Concat(pieces...) }
