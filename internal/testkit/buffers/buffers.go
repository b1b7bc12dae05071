package buffers

import (
	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock"
)

// A BufferCount knows which buffers of the pool are alive. Its Made is for
// [wsock.TrackBuffers], in TestMain.
type BufferCount = testkit.Count[wsock.Buffer]
