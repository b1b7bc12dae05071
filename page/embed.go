//go:build page

package page

import (
	"embed"
	"io/fs"
)

// What lies there compressed is not taken as it is, too. A build that leaves other
// kinds than pictures uncompressed needs them here, which TestBuiltIn sees.
//
//go:embed dist/files.json dist/*.br dist/*.gz dist/*.png
var dist embed.FS

// built returns the page that is in this binary.
func built() (files fs.FS, exists bool) {
	files, err := fs.Sub(dist, "dist")
	return files, err == nil
}
