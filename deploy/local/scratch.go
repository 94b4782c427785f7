package local

import (
	"os"
	"path/filepath"
)

// Scratch makes an empty directory which also users that servers run as may enter, and gives how to remove it.
func Scratch(name string) (dir string, remove func(), err error) {
	outer, err := os.MkdirTemp("", "meridian-"+name+"-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(outer) } // a temporary directory: the machine clears it in the end
	if err := os.Chmod(outer, 0o711); err != nil {
		remove()
		return "", nil, err
	}
	return filepath.Join(outer, name), remove, nil
}
