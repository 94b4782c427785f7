package config

import "regexp"

// Objects says where a region keeps files: on a disk or in a bucket of an S3 server, one of them. Credentials are read when they
// are needed; relative paths lie under security.secrets_dir.
type Objects struct {
	Disk *Disk `yaml:"disk,omitempty"`
	S3   *S3   `yaml:"s3,omitempty"`
}

// Disk is a directory that one process of the region has for itself.
type Disk struct {
	Dir string `yaml:"dir"`
}

// S3 is a bucket, which must be there.
type S3 struct {
	Address    string `yaml:"address"` // host:port
	Bucket     string `yaml:"bucket"`
	Region     string `yaml:"region"` // of the server; default: us-east-1
	AccessKey  string `yaml:"access_key"`
	SecretFile string `yaml:"secret_file"`
	// CAFile (PEM) signs the server's certificate; without it nothing is encrypted.
	CAFile string `yaml:"ca_file"`
	// ServerName is the name in that certificate; default: the host of address.
	ServerName string `yaml:"server_name"`
}

// s3Region is what servers that have no regions call theirs.
const s3Region = "us-east-1"

// WithDefaults fills what the file leaves out.
func (s S3) WithDefaults() S3 {
	fill(&s.Region, s3Region)
	return s
}

var bucketPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func (v *validator) checkObjects(path string, r Region) {
	if r.Objects == nil {
		return
	}
	at := path + ".objects"
	if (r.Objects.Disk == nil) == (r.Objects.S3 == nil) {
		v.add(at, "needs disk or s3, one of them")
	}
	if r.Objects.Disk != nil {
		v.filled(at+".disk.dir", r.Objects.Disk.Dir)
	}
	s := r.Objects.S3
	if s == nil {
		return
	}
	v.server(at+".s3.address", s.Address)
	if !bucketPattern.MatchString(s.Bucket) {
		v.add(at+".s3.bucket", "%s is not a bucket; allowed: 3 to 63 of a-z, 0-9, - and ., a letter or digit at both ends", quote(s.Bucket))
	}
	v.filled(at+".s3.access_key", s.AccessKey)
	v.serverName(at+".s3", s.ServerName, s.CAFile)
	v.filled(at+".s3.secret_file", s.SecretFile)
}
