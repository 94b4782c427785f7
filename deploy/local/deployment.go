package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Regions are those of the built-in configuration, which Up serves.
var Regions = []string{"us-east", "eu-west", "ap-south"}

// Deployment is the file local.json that Up writes: all that clients need to use the servers. Paths are absolute.
type Deployment struct {
	Regions map[string]RegionAccess `json:"regions"`
}

// RegionAccess is one region's servers.
type RegionAccess struct {
	Cassandra CassandraAccess `json:"cassandra"`
	Redis     RedisAccess     `json:"redis"`
}

// What a directory of Up holds beside those of the regions.
const (
	deploymentFile = "local.json"
	dataDir        = "data"
)

// DataDir is where, in a directory of Up, Meridian keeps its own files: the keys that seal what lies on the servers.
func DataDir(dir string) string { return filepath.Join(dir, dataDir) }

// UpDir gives dir as an absolute path, and where it is empty the directory that Up uses when it is told none: .cache/local in the
// root of the module.
func UpDir(dir string) (string, error) {
	if dir != "" {
		return filepath.Abs(dir)
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, ".cache", "local"), nil
}

// Script gives the path of a script of this folder, when the working directory lies in the repository.
func Script(name string) (string, error) {
	root, err := moduleRoot()
	return filepath.Join(root, "deploy", "local", name), err
}

// Load reads the deployment that Up wrote in dir (see UpDir).
func Load(dir string) (*Deployment, error) {
	dir, err := UpDir(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, deploymentFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing: start the servers by deploy/local/up", path)
	}
	if err != nil {
		return nil, err
	}
	d := new(Deployment)
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func (d *Deployment) save(dir string) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, deploymentFile), string(b)+"\n")
}
