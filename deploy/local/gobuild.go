package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
)

// installGo builds a server that is a Go program of another module into the cache (.cache/bin), unless it is there, and gives its path.
func installGo(ctx context.Context, program, version string, progress Progress) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	name := path.Base(program)
	bin := filepath.Join(cache, "bin", name+"-"+version)
	file := filepath.Join(bin, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	progress.say("%s: building %s", name, version)
	return file, fetched(ctx, progress, name, func() error {
		cmd := exec.CommandContext(ctx, "go", "install", program+"@"+version)
		cmd.Env, cmd.Dir = append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-trimpath"), os.TempDir() // outside of this module
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program, err, out[max(0, len(out)-logTailBytes):])
		}
		return nil
	})
}
