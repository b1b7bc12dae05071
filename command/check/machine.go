package check

import (
	"errors"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// A machine is what rules know of where they run. Its files are those of the root
// directory; where there is none of a name, as on other systems, nothing is known.
type machine struct{ files fs.FS }

// Whose memory is bounded.
const (
	ofGroup   = "the control group (container)"
	ofMachine = "this machine"
)

// memoryLimit returns how much memory a process here may use, in bytes, and whose
// bound that is; 0 = it is not known.
func (m machine) memoryLimit() (limit int64, whose string) {
	limit, whose = m.total(), ofMachine
	for _, name := range m.groupLimits() {
		if n, err := strconv.ParseInt(m.read(name), 10, 64); err == nil && n > 0 && (limit == 0 || n < limit) {
			limit, whose = n, ofGroup
		}
	}
	return limit, whose
}

// groupLimits lists the files that may bound this process: those of its own control
// group and of all above, in either version. In a container the path that the
// process is told may be the host's, and what is mounted is its own.
func (m machine) groupLimits() []string {
	const root = "sys/fs/cgroup"
	names := []string{root + "/memory.max", root + "/memory/memory.limit_in_bytes"}
	for line := range strings.Lines(m.read("proc/self/cgroup")) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		dir, file := root, "memory.max"
		if fields[1] != "" {
			dir, file = root+"/memory", "memory.limit_in_bytes"
		}
		if fields[1] != "" && fields[1] != "memory" {
			continue
		}
		for group := path.Clean("/" + fields[2]); group != "/"; group = path.Dir(group) {
			names = append(names, dir+group+"/"+file)
		}
	}
	return names
}

// total returns the memory of the whole machine.
func (m machine) total() int64 {
	for line := range strings.Lines(m.read("proc/meminfo")) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n * kib
		}
	}
	return 0
}

// ephemeralPorts returns the ports that the kernel takes for outgoing connections.
func (m machine) ephemeralPorts() (low, high uint16, known bool) {
	fields := strings.Fields(m.read("proc/sys/net/ipv4/ip_local_port_range"))
	if len(fields) != 2 {
		return 0, 0, false
	}
	first, err := strconv.ParseUint(fields[0], 10, 16)
	last, err2 := strconv.ParseUint(fields[1], 10, 16)
	return uint16(first), uint16(last), err == nil && err2 == nil
}

// read returns the text of a file, "" if there is none.
func (m machine) read(name string) string {
	text, err := fs.ReadFile(m.files, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

var errSize = errors.New("no size")

// parseGoSize reads a size as the runtime of Go does.
func parseGoSize(text string) (int64, error) {
	unit := int64(1)
	for _, u := range []struct {
		suffix string
		bytes  int64
	}{{"TiB", kib * gib}, {"GiB", gib}, {"MiB", mib}, {"KiB", kib}, {"B", 1}} {
		if digits, found := strings.CutSuffix(text, u.suffix); found {
			text, unit = digits, u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > 1<<62/unit {
		return 0, errSize
	}
	return n * unit, nil
}
