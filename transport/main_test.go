package transport

import (
	"testing"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }
