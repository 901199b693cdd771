package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// A Bucket keeps objects in an S3-compatible bucket.
type Bucket struct {
	client *minio.Client
	bucket string
	prefix string // of all names; empty, or it ends with a slash

	patience time.Duration // requestTime, but for tests
}

// Place says where a bucket is and who we are there.
type Place struct {
	Provider string // `s3`, or the service's URL, with ?region= where it cannot tell its own
	Key      string
	Secret   string
	Bucket   string // its name, or name/prefix
}

// requestTime bounds one request, so that a service that does not answer is noticed.
const requestTime = time.Minute

const (
	triesMax = 4 // a request's; the pauses between them add up to some seconds
	amazon   = "https://s3.amazonaws.com"
)

// Validate tells what of a place cannot work. It repeats no secret.
func (p Place) Validate() error {
	if err := p.ValidateProvider(); err != nil {
		return err
	}
	if name, _ := p.split(); name == "" {
		return errors.New("the bucket has no name")
	}
	if p.Key == "" || p.Secret == "" {
		return errors.New("the bucket's key or secret is missing")
	}
	return nil
}

// ValidateProvider tells whether the provider alone cannot work.
func (p Place) ValidateProvider() error {
	_, _, _, err := p.endpoint()
	return err
}

// Open tells whether what is sent can be read on the way.
func (p Place) Open() bool {
	_, secure, _, err := p.endpoint()
	return err == nil && !secure
}

func (p Place) endpoint() (host string, secure bool, region string, err error) {
	text := p.Provider
	if text == "s3" {
		text = amazon
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" ||
		u.Scheme != "https" && u.Scheme != "http" {
		return "", false, "", errors.New("the provider is neither s3 nor a URL such as https://s3.eu-central-1.amazonaws.com")
	}
	return u.Host, u.Scheme == "https", u.Query().Get("region"), nil
}

// split separates the bucket's name from the prefix of what we keep in it.
func (p Place) split() (name, prefix string) {
	name, prefix, _ = strings.Cut(strings.TrimSuffix(p.Bucket, "/"), "/")
	if prefix != "" {
		prefix = path.Clean(prefix) + "/"
	}
	return name, prefix
}

// OpenBucket prepares a bucket. It asks nothing of the service yet.
func OpenBucket(p Place) (*Bucket, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("open the bucket: %w", err)
	}
	host, secure, region, err := p.endpoint()
	if err != nil {
		return nil, fmt.Errorf("open the bucket: %w", err)
	}
	client, err := minio.New(host, &minio.Options{
		Creds: credentials.NewStaticV4(p.Key, p.Secret, ""), Secure: secure, Region: region, MaxRetries: triesMax,
	})
	if err != nil {
		return nil, fmt.Errorf("open the bucket: %w", err)
	}
	client.SetAppInfo("truebond", "1")
	name, prefix := p.split()
	return &Bucket{client: client, bucket: name, prefix: prefix, patience: requestTime}, nil
}

// String is where the bucket is.
func (b *Bucket) String() string {
	return b.client.EndpointURL().JoinPath(b.bucket, b.prefix).String()
}

// PutIfAbsent uploads an object in one request with its MD5, so that a cut upload leaves
// nothing.
func (b *Bucket) PutIfAbsent(ctx context.Context, name string, content []byte) error {
	if err := checkObject(name, content); err != nil {
		return fmt.Errorf("put: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	options := minio.PutObjectOptions{
		ContentType: "application/octet-stream", SendContentMd5: true, DisableMultipart: true,
	}
	options.SetMatchETagExcept("*")
	_, err := b.client.PutObject(ctx, b.bucket, b.prefix+name, bytes.NewReader(content), int64(len(content)), options)
	if err != nil {
		return fmt.Errorf("put %s into %s: %w", name, b, plain(err))
	}
	return nil
}

// Get downloads an object.
func (b *Bucket) Get(ctx context.Context, name string) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	object, err := b.client.GetObject(ctx, b.bucket, b.prefix+name, minio.GetObjectOptions{})
	if err != nil {
		return nil, fmt.Errorf("get %s from %s: %w", name, b, plain(err))
	}
	defer object.Close() //nolint:errcheck // it is only read
	content, err := readBounded(object)
	if err != nil {
		return nil, fmt.Errorf("get %s from %s: %w", name, b, plain(err))
	}
	return content, nil
}

// List names objects, a thousand a request. There may be many: each request has its time.
func (b *Bucket) List(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing when we leave it early
	silence := time.AfterFunc(b.patience, cancel)
	defer silence.Stop()
	var names []string
	options := minio.ListObjectsOptions{Prefix: b.prefix + prefix, Recursive: true}
	for object := range b.client.ListObjects(ctx, b.bucket, options) {
		silence.Reset(b.patience)
		if object.Err != nil {
			return nil, fmt.Errorf("list %s: %w", b, plain(object.Err))
		}
		if name := strings.TrimPrefix(object.Key, b.prefix); checkName(name) == nil {
			names = append(names, name)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", b, err)
	}
	slices.Sort(names)
	return names, nil
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := b.client.RemoveObject(ctx, b.bucket, b.prefix+name, minio.RemoveObjectOptions{})
	if err = plain(err); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete %s from %s: %w", name, b, err)
	}
	return nil
}

// plain says in the words of io/fs what the service says of an object. A bucket that is
// not there is another matter.
func plain(err error) error {
	if err == nil {
		return nil
	}
	answer := minio.ToErrorResponse(err)
	switch {
	case answer.Code == "NoSuchKey":
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case answer.StatusCode == http.StatusPreconditionFailed || answer.Code == "PreconditionFailed":
		return fmt.Errorf("%w (%w)", fs.ErrExist, err)
	}
	return err
}

var (
	_ Store = (*Folder)(nil)
	_ Store = (*Bucket)(nil)
)
