package sendqueue

import (
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/transport/wsock"
)

// pooled knows which buffers of the pool are alive.
var pooled buffers.BufferCount

func TestMain(m *testing.M) {
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}
