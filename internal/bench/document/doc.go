// Package document writes results into docs/performance.md: tables between marks, and
// plots as SVG. It knows nothing of what was measured.
package document
