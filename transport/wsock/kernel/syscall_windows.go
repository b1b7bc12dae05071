package kernel

import "errors"

// The server doesn't run on Windows, whose sockets can't be asked without waiting;
// clients, who use this package's buffers alone, do.

func Read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func ReadAll(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func WriteAll(uintptr, [][]byte) (int, error) { return 0, errors.ErrUnsupported }

func Peek(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
