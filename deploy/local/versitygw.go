package local

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// VersityGWPort is where the S3 server listens, on an address of its own.
const VersityGWPort = 7070

// versityGW is the module that the S3 server is built from; its version is the only one that is tried.
const versityGW, versityGWVersion = "github.com/versity/versitygw/cmd/versitygw", "v1.8.0"

// versityGWUser is the root user of the S3 server; its secret is in the file "password" of the server's directory.
const versityGWUser = "meridian"

// VersityGW is a server that speaks S3 over a directory, and TLS only.
type VersityGW struct {
	*Process
	Address string // host:port
	Access  string
	Secret  string
	CAFile  string // who has signed its certificate
	buckets string
}

// InstallVersityGW builds the server into the cache (.cache/bin), which takes some minutes the first time, and gives its path.
func InstallVersityGW(ctx context.Context, progress Progress) (string, error) {
	return installGo(ctx, versityGW, versityGWVersion, progress)
}

// NewVersityGW gives the server that lives in dir; Start starts it.
func NewVersityGW(ctx context.Context, dir string, progress Progress) (*VersityGW, error) {
	path, err := InstallVersityGW(ctx, progress)
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	host, err := AddressFor(dir, VersityGWPort)
	if err != nil {
		return nil, err
	}
	secret, err := Secret(filepath.Join(dir, "password"))
	if err != nil {
		return nil, err
	}
	secure := certs{filepath.Join(dir, "certs")}
	if err := secure.make("versitygw", []string{host}); err != nil {
		return nil, err
	}
	v := &VersityGW{
		Address: net.JoinHostPort(host, strconv.Itoa(VersityGWPort)), Access: versityGWUser, Secret: secret, CAFile: secure.ca(),
		buckets: filepath.Join(dir, "buckets"),
	}
	if err := os.MkdirAll(v.buckets, 0o700); err != nil {
		return nil, err
	}
	v.Process = New(Spec{
		Name: "versitygw", Dir: dir, Path: path, Progress: progress,
		Args:  []string{"--port", v.Address, "--cert", secure.node(host), "--key", secure.node(host), "--quiet", "posix", v.buckets},
		Env:   []string{"ROOT_ACCESS_KEY_ID=" + v.Access, "ROOT_ACCESS_KEY=" + v.Access, "ROOT_SECRET_ACCESS_KEY=" + v.Secret, "ROOT_SECRET_KEY=" + v.Secret},
		Ready: func(ctx context.Context) error { return reachable(ctx, v.Address) },
	})
	return v, nil
}

// MakeBucket makes a bucket: a directory.
func (v *VersityGW) MakeBucket(name string) error {
	return os.MkdirAll(filepath.Join(v.buckets, name), 0o700)
}
