package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A declared is what the source declares at the top level of its packages.
type declared struct {
	tests  map[string]bool // tests and fuzz targets, by name
	bounds map[string]bool // constants and variables, as package.name
}

// declarations reads the whole module.
func declarations(t *testing.T) declared {
	t.Helper()
	d := declared{tests: make(map[string]bool), bounds: make(map[string]bool)}
	for _, p := range listPackages(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			isTest := strings.HasSuffix(file, "_test.go")
			for _, decl := range parsed.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if isTest && decl.Recv == nil {
						d.tests[decl.Name.Name] = true
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						values, ok := spec.(*ast.ValueSpec)
						if !ok || isTest {
							continue
						}
						for _, name := range values.Names {
							d.bounds[parsed.Name.Name+"."+name.Name] = true
						}
					}
				}
			}
		}
	}
	return d
}

// configured returns the names of all variables that config reads.
func configured(t *testing.T) (names []string) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("config", "variables.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		pair, ok := n.(*ast.KeyValueExpr)
		if !ok {
			return true
		}
		key, _ := pair.Key.(*ast.Ident)
		if value, ok := pair.Value.(*ast.BasicLit); ok && key != nil && key.Name == "name" {
			name, err := strconv.Unquote(value.Value)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
		return true
	})
	if len(names) < 30 {
		t.Fatalf("config has %d variables, there are more", len(names))
	}
	return names
}

// docs/security.md says of each bound which test holds it. What it names is
// there, and no variable that bounds something is left out.
func TestSecurityDocument(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	document, source := string(text), declarations(t)

	tests := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9_]*)`").FindAllStringSubmatch(document, -1)
	if len(tests) < 100 {
		t.Errorf("it names %d tests", len(tests))
	}
	for _, match := range tests {
		if !source.tests[match[1]] {
			t.Errorf("there is no test %s", match[1])
		}
	}

	bounds := regexp.MustCompile("`([a-z]+\\.[A-Za-z0-9]+)`").FindAllStringSubmatch(document, -1)
	if len(bounds) < 50 {
		t.Errorf("it names %d constants", len(bounds))
	}
	for _, match := range bounds {
		if name := match[1]; name != "compose.yaml" && !source.bounds[name] {
			t.Errorf("there is no %s", name)
		}
	}

	variables := configured(t)
	for _, match := range regexp.MustCompile("`([A-Z]+(?:_[A-Z]+)+)`").FindAllStringSubmatch(document, -1) {
		if !slices.Contains(variables, match[1]) {
			t.Errorf("there is no variable %s", match[1])
		}
	}
	bounding := regexp.MustCompile("^(MAX|TUNNEL|RESUME)_|(TIMEOUT|INTERVAL|DELAY)$")
	for _, name := range variables {
		if bounding.MatchString(name) && !strings.Contains(document, "`"+name+"`") {
			t.Errorf("nothing is said of %s", name)
		}
	}
}
