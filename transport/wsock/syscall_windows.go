package wsock

import "errors"

// The server doesn't run on Windows, whose sockets can't be asked without waiting;
// clients, who use this package's buffers alone, do.

func sysRead(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func sysWrite(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

func sysPeek(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
