// Package desk is what tests of actors drive them with: a probe in place of an
// actor, and a limits actor with whoever asks it. Tests of the packages under
// actors use it.
package desk
