package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed" // the pom
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed cassandra/pom.xml
var pom []byte

const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// jars is Cassandra as it lies in the cache, and the Java that runs it.
type jars struct {
	java    string
	version string // of Java
	dir     string
	list    []string // sorted: the class archive holds for this order
	archive string   // of classes, which halves a start; empty: there is none
}

// Install puts Cassandra's jars into dir (empty: cassandra in CacheDir), by Maven, and makes the archive of classes that
// shortens each start by two seconds. What is there already is not done again; processes that install at once wait for one
// another.
func Install(ctx context.Context, dir string, progress Progress) error {
	_, err := install(ctx, dir, progress)
	return err
}

func install(ctx context.Context, dir string, progress Progress) (*jars, error) {
	if dir == "" {
		cache, err := CacheDir()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(cache, "cassandra")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(pom)
	j := &jars{dir: filepath.Join(dir, hex.EncodeToString(sum[:6]))} // another pom: other jars
	if j.java, j.version, err = findJava(ctx); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockFile(ctx, filepath.Join(j.dir, "lock"), progress)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := j.copyJars(ctx, progress); err != nil {
		return nil, err
	}
	if j.list, err = filepath.Glob(filepath.Join(j.lib(), "*.jar")); err != nil {
		return nil, err
	}
	slices.Sort(j.list)
	return j, j.makeArchive(ctx, progress)
}

func (j *jars) lib() string { return filepath.Join(j.dir, "lib") }

func (j *jars) classPath() string { return strings.Join(j.list, string(os.PathListSeparator)) }

// copyJars fills lib, whole or not at all.
func (j *jars) copyJars(ctx context.Context, progress Progress) error {
	if _, err := os.Stat(j.lib()); err == nil {
		return nil
	}
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("mvn is missing, which fetches Cassandra's jars (Debian: apt-get install maven): %w", err)
	}
	part := j.lib() + ".part"
	if err := os.WriteFile(filepath.Join(j.dir, "pom.xml"), pom, 0o644); err != nil {
		return err
	}
	progress.say("cassandra: fetching the jars by Maven (about 70 MB)")
	err = fetched(ctx, progress, "cassandra", func() error {
		if err := os.RemoveAll(part); err != nil {
			return err
		}
		// With -U Maven asks again for what it was told before is not there.
		return follow(exec.CommandContext(ctx, mvn, "-B", "-U", "-f", filepath.Join(j.dir, "pom.xml"), copyDependencies, "-DincludeScope=runtime",
			"-DoutputDirectory="+part), progress)
	})
	if err != nil {
		return fmt.Errorf("fetching Cassandra's jars: %w", err)
	}
	progress.say("cassandra: the jars are in %s", j.lib())
	return os.Rename(part, j.lib())
}

const errorLines = 15 // of Maven's output, shown with its failure

// follow runs Maven and tells now and then how far it is.
func follow(cmd *exec.Cmd, progress Progress) error {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return err
	}
	var last []string
	told, files := time.Now(), 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "[INFO] Downloaded ") {
			files++
			if time.Since(told) >= progressEvery {
				told = time.Now()
				progress.say("cassandra: %d files fetched", files)
			}
			continue
		}
		if last = append(last, line); len(last) > errorLines {
			last = last[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("mvn: %w\n%s", err, strings.Join(last, "\n"))
	}
	return nil
}

// archiveFlags let an archive of classes hold those that the agent jamm touches.
const archiveFlags = "-XX:+UnlockDiagnosticVMOptions -XX:+AllowArchivingWithJavaAgent"

// makeArchive runs a node once, from its start to a clean end, and lets Java keep the classes that it loaded. A node runs
// without as well: that none can be made is told and is no error.
func (j *jars) makeArchive(ctx context.Context, progress Progress) error {
	path := filepath.Join(j.dir, "classes-"+j.version+".jsa")
	if _, err := os.Stat(path); err == nil {
		j.archive = path
		return nil
	}
	progress.say("cassandra: making the archive of classes")
	started := time.Now()
	if err := j.recordClasses(ctx, path); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		progress.say("cassandra: no archive of classes, so each start takes two seconds longer: %v", err)
		return nil
	}
	progress.say("cassandra: archive of classes made in %d s", int(time.Since(started).Seconds()))
	j.archive = path
	return nil
}

func (j *jars) recordClasses(ctx context.Context, path string) error {
	dir, err := os.MkdirTemp(j.dir, "record-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	part := filepath.Join(dir, "classes.jsa")
	c, err := newCassandra(j, CassandraOptions{Datacenter: "record", Dir: filepath.Join(dir, "node"), javaFlags: []string{"-XX:ArchiveClassesAtExit=" + part}})
	if err != nil {
		return err
	}
	if err := errors.Join(c.Start(ctx), c.Stop()); err != nil {
		return err
	}
	return os.Rename(part, path)
}
