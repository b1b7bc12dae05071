package wsock

import (
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock/rest"
)

func TestMain(m *testing.M) {
	rest.After = 5 * time.Millisecond // all tests may meet sessions at rest
	TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// pooled knows which of the buffers that the tests use are alive.
var pooled testkit.Count[Buffer]
