package actors

import (
	"testing"

	"wsproxy/actors/ledger"
	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

// Bounds are short in many tests.
type Bounds = ledger.Bounds
