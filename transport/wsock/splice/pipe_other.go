//go:build !linux

package splice

import (
	"errors"
	"syscall"
)

// A Pipe stands for what there is none of: only Linux has it.
type Pipe struct{}

// Take returns nil.
func Take() *Pipe { return nil }

// Give is never called, as are the others.
func (p *Pipe) Give() {}

// Fill fails.
func (p *Pipe) Fill(uintptr) (int, error) { return 0, errors.ErrUnsupported }

// Open returns 0.
func Open() int { return 0 }

// A Writer writes nothing.
type Writer struct{}

// NewWriter returns one.
func NewWriter(syscall.RawConn) *Writer { return nil }

// Write fails.
func (w *Writer) Write([]byte, *Pipe) (bool, error) { return false, errors.ErrUnsupported }

// IsUnfit reports true.
func IsUnfit(error) bool { return true }
