package keys

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxSetBytes is how long a key set may be for a server to read it.
const maxSetBytes = 1 << 20

// A keySet is a JSON Web Key Set whose keys, and what else stands in it, are left as
// they are.
type keySet struct {
	members map[string]json.RawMessage
	keys    []json.RawMessage
}

func parseSet(raw []byte) (keySet, error) {
	var set keySet
	if err := json.Unmarshal(raw, &set.members); err != nil {
		return keySet{}, fmt.Errorf("it is no JSON Web Key Set: %w", err)
	}
	if set.members["keys"] == nil {
		return keySet{}, errors.New(`it is no JSON Web Key Set: it has no "keys"`)
	}
	if err := json.Unmarshal(set.members["keys"], &set.keys); err != nil {
		return keySet{}, fmt.Errorf("its keys are no list: %w", err)
	}
	return set, nil
}

// kids returns the names of the keys, "" for one that has none.
func (s keySet) kids() []string {
	names := make([]string, len(s.keys))
	for i, raw := range s.keys {
		var key publicKey
		_ = json.Unmarshal(raw, &key) // what can't be read has no name
		names[i] = key.Kid
	}
	return names
}

// with returns the set with one more key, or with that alone.
func (s keySet) with(key publicKey, alone bool) (keySet, error) {
	raw, err := json.Marshal(key)
	if err != nil {
		return keySet{}, err
	}
	next := keySet{members: s.members}
	if !alone {
		next.keys = append(next.keys, s.keys...)
	}
	next.keys = append(next.keys, raw)
	return next, nil
}

func (s keySet) encode() ([]byte, error) {
	all := map[string]any{}
	for name, value := range s.members {
		all[name] = value
	}
	all["keys"] = s.keys
	raw, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return nil, err
	}
	raw = append(raw, '\n')
	if len(raw) > maxSetBytes {
		return nil, fmt.Errorf("the set would be longer than the %d bytes that a server reads", maxSetBytes)
	}
	return raw, nil
}
