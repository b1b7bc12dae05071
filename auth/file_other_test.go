//go:build !unix

package auth

var badFilesOfThisSystem map[string]badFile
