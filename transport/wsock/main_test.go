package wsock

import (
	"testing"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) {
	TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// pooled knows which of the buffers that the tests use are alive.
var pooled testkit.Count[Buffer]
