package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const unitFile = "../deploy/systemd/wsproxy.service"

// unitValue is what the unit sets a key to, once.
func unitValue(t *testing.T, key string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(read(t, "deploy/systemd/wsproxy.service"), -1)
	if len(found) != 1 {
		t.Fatalf("the unit sets %s %d times", key, len(found))
	}
	return found[0][1]
}

// systemd finds nothing wrong with the unit, and little that it would not need.
func TestSystemdUnit(t *testing.T) {
	// Ten times the exposure level; 10.0 is that of a unit without any of it.
	out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", unitFile).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
	// With a program that there is.
	unit := filepath.Join(t.TempDir(), "wsproxy.service")
	text := strings.ReplaceAll(read(t, "deploy/systemd/wsproxy.service"), unitValue(t, "ExecStart"), "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// The page says who owns what, and where, as the unit has it.
func TestSystemdPage(t *testing.T) {
	page, environment := read(t, "docs/deploy/systemd.md"), read(t, "deploy/systemd/wsproxy.env")
	user, group := unitValue(t, "User"), unitValue(t, "Group")
	for _, want := range []string{
		"useradd --system --user-group --no-create-home --shell /usr/sbin/nologin " + user + "\n",
		"install -d -m 750 -g " + group + " /etc/wsproxy\n",
		"install -m 600 deploy/systemd/wsproxy.env " + filepath.Dir(unitValue(t, "EnvironmentFile")) + "/\n",
		"-p User=" + user + " -p EnvironmentFile=" + unitValue(t, "EnvironmentFile") + " " + unitValue(t, "ExecStart") + " check ",
		"| `/var/lib/" + unitValue(t, "StateDirectory") + "` | " + user + ", " + group + ", " + unitValue(t, "StateDirectoryMode") + " |",
		"| `/run/" + unitValue(t, "RuntimeDirectory") + "` | " + user + ", " + group + ", " + unitValue(t, "RuntimeDirectoryMode") + " |",
		"(" + unitValue(t, "TimeoutStopSec") + " s as it comes)",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/deploy/systemd.md doesn't say %q", want)
		}
	}
	file := regexp.MustCompile(`(?m)^#CONFIG_FILE=(.*)$`).FindStringSubmatch(environment)
	if file == nil || !strings.Contains(page, "| `"+file[1]+"` | root, "+group+", 0640 |") {
		t.Errorf("of %q docs/deploy/systemd.md doesn't say who reads it", file)
	}
}

// The file of its settings is read as a whole, and fits the unit.
func TestSystemdEnvironment(t *testing.T) {
	var environ []string
	for line := range strings.Lines(read(t, "deploy/systemd/wsproxy.env")) {
		line, commented := strings.CutPrefix(strings.TrimSpace(line), "#")
		name, _, isPair := strings.Cut(line, "=")
		if !isPair || strings.ContainsAny(name, " ,") {
			continue
		}
		if !isOurs(name) && name != "GOMEMLIMIT" {
			t.Errorf("wsproxy.env names %s, which nobody reads", name)
		}
		if !commented {
			environ = append(environ, line)
		}
	}
	c, err := Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	stop, err := time.ParseDuration(unitValue(t, "TimeoutStopSec") + "s")
	if longest := c.ShutdownDelay + c.ShutdownTimeout + closes; err != nil || stop <= longest {
		t.Errorf("systemd kills after %v, %v, and it takes up to %v", stop, err, longest)
	}
	if c.TunnelBufferTotal != 128*mib || c.ResumeBufferTotal != 64*mib || unitValue(t, "MemoryMax") != "1G" {
		t.Errorf("buffers of %d and %d, in %s", c.TunnelBufferTotal, c.ResumeBufferTotal, unitValue(t, "MemoryMax"))
	}
	if c.Bind != "127.0.0.1" && c.JWKSURL == "" {
		t.Error("as it comes, anyone could use it")
	}
}
