package page

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// listName is the file that the build lists all others in. It is not served.
const listName = "files.json"

// An entry is what the list says of a file.
type entry struct {
	Hash      string `json:"hash"`      // of its content, for the entity tag
	Type      string `json:"type"`      // its media type
	Immutable bool   `json:"immutable"` // its name changes with its content
	Size      int64  `json:"size"`      // in bytes, without compression
}

// A file is one that is served, in each form that there is of it.
type file struct {
	entry
	forms []form // the one that is preferred first
}

// A form is a file in one content coding.
type form struct {
	coding string // "br", "gzip" or "" for none
	name   string
	size   int64
	// unpack says that it lies there as gzip, and is unpacked for the few clients
	// that take nothing compressed: so the binary has each file twice, not three
	// times.
	unpack bool
}

// suffixes are the codings in which a build leaves files, the smallest first.
var suffixes = []struct{ coding, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

// readFiles reads the list of a built page. The files are by their paths, which
// begin with a slash; index.html is "/" too.
func readFiles(dist fs.FS) (map[string]*file, error) {
	text, err := fs.ReadFile(dist, listName)
	if err != nil {
		return nil, fmt.Errorf("the page has no list of its files: %w", err)
	}
	var list map[string]entry
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("the list of the page's files, %s, can't be read: %w", listName, err)
	}
	files := make(map[string]*file, len(list)+1)
	for name, e := range list {
		name = strings.TrimPrefix(name, "/")
		if e.Hash == "" || strings.Trim(e.Hash, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=_-") != "" || e.Type == "" {
			return nil, fmt.Errorf("the list of the page's files, %s, lacks hash or type of %q", listName, name)
		}
		f := &file{entry: e}
		if f.forms, err = formsOf(dist, name, e.Size); err != nil {
			return nil, err
		}
		files["/"+name] = f
	}
	if files["/"] = files["/index.html"]; files["/"] == nil {
		return nil, errors.New("the page has no index.html")
	}
	return files, nil
}

func formsOf(dist fs.FS, name string, size int64) (forms []form, err error) {
	for _, s := range suffixes {
		if info, err := fs.Stat(dist, name+s.suffix); err == nil {
			forms = append(forms, form{coding: s.coding, name: name + s.suffix, size: info.Size()})
		}
	}
	if info, err := fs.Stat(dist, name); err == nil {
		return append(forms, form{name: name, size: info.Size()}), nil
	}
	if _, err := fs.Stat(dist, name+".gz"); err != nil {
		return nil, fmt.Errorf("the page's file %s is missing: %w", name, err)
	}
	return append(forms, form{name: name + ".gz", size: size, unpack: true}), nil
}

// open returns the bytes of a form.
func (f form) open(dist fs.FS) (io.ReadCloser, error) {
	packed, err := dist.Open(f.name)
	if err != nil || !f.unpack {
		return packed, err
	}
	plain, err := gzip.NewReader(packed)
	if err != nil {
		packed.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{plain, packed}, nil
}

// tag is the strong entity tag of a form: two codings of one file are two
// representations (RFC 9110, section 8.8.3).
func (f *file) tag(as form) string {
	if as.coding == "" {
		return `"` + f.Hash + `"`
	}
	return `"` + f.Hash + "-" + as.coding + `"`
}
