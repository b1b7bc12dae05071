//go:build !page

package page

import "io/fs"

// built says that there is no page in this binary.
func built() (files fs.FS, exists bool) { return nil, false }
