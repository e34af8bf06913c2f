// franz-go; command line and output are described in tests/kafka/README.md.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	bootstrap  = flag.String("bootstrap", "", "")
	topic      = flag.String("topic", "", "")
	group      = flag.String("group", "", "")
	member     = flag.String("member", "", "")
	at         = flag.String("at", "earliest", "")
	records    = flag.Int("records", 0, "")
	commitEach = flag.Int("commit-every", 0, "")
	holdAt     = flag.Int("hold-at", 0, "")
	session    = flag.Int("session-timeout", 6000, "")
	mechanism  = flag.String("mechanism", "", "")
	user       = flag.String("user", "", "")
	password   = flag.String("password", "", "")
	ca         = flag.String("ca", "", "")
)

var out = bufio.NewWriterSize(os.Stdout, 1<<16)

// say writes one line of output that the test may wait for.
func say(words ...any) {
	fmt.Fprintln(out, words...)
	out.Flush()
}

// fail ends the program with the client's own message.
func fail(err error) {
	say("error", strings.Join(strings.Fields(err.Error()), " "))
	os.Exit(1)
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

// positions are the offsets behind what was taken, by partition.
var positions = map[int32]int64{}

func numbers(partitions []int32) string {
	slices.Sort(partitions)
	words := make([]string, len(partitions))
	for i, partition := range partitions {
		words[i] = strconv.Itoa(int(partition))
	}
	return strings.Join(words, ",")
}

// place is where the order says to begin.
func place() kgo.Offset {
	kind, number, _ := strings.Cut(*at, ":")
	value, _ := strconv.ParseInt(number, 10, 64)
	switch kind {
	case "time":
		return kgo.NewOffset().AfterMilli(value)
	case "offset":
		return kgo.NoResetOffset().At(value)
	case "latest":
		return kgo.NewOffset().AtEnd()
	default:
		return kgo.NewOffset().AtStart()
	}
}

// settings are only what the order says; everything else stays as the client has it.
func settings() []kgo.Opt {
	options := []kgo.Opt{kgo.SeedBrokers(*bootstrap), kgo.ConsumeTopics(*topic), kgo.ConsumeResetOffset(place())}
	if *group != "" {
		assigned := func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			say("assigned", numbers(changed[*topic]))
		}
		revoked := func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			for _, partition := range changed[*topic] {
				delete(positions, partition)
			}
			say("revoked", numbers(changed[*topic]))
		}
		options = append(options, kgo.ConsumerGroup(*group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(time.Duration(*session)*time.Millisecond),
			kgo.HeartbeatInterval(time.Duration(*session/6)*time.Millisecond),
			kgo.OnPartitionsAssigned(assigned), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(revoked))
	}
	if *member != "" {
		options = append(options, kgo.InstanceID(*member))
	}
	switch *mechanism {
	case "PLAIN":
		options = append(options, kgo.SASL(plain.Auth{User: *user, Pass: *password}.AsMechanism()))
	case "SCRAM-SHA-256":
		options = append(options, kgo.SASL(scram.Auth{User: *user, Pass: *password}.AsSha256Mechanism()))
	}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: roots}))
	}
	return options
}

// commit makes the positions those of the group.
func commit(ctx context.Context, client *kgo.Client) {
	partitions := map[int32]kgo.EpochOffset{}
	words := []string{}
	for partition, offset := range positions {
		partitions[partition] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		words = append(words, fmt.Sprintf("%d:%d", partition, offset))
	}
	var failed error
	client.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{*topic: partitions},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			failed = err
			for _, t := range answer.Topics {
				for _, p := range t.Partitions {
					if failed == nil {
						failed = kerr.ErrorForCode(p.ErrorCode)
					}
				}
			}
		})
	check(failed)
	slices.Sort(words)
	say("committed", strings.Join(words, ","))
}

func main() {
	flag.Parse()
	ctx := context.Background()
	client, err := kgo.NewClient(settings()...)
	check(err)
	defer client.Close()
	check(client.Ping(ctx))
	count := 0
	isDone := func() bool { return *records > 0 && count >= *records }
	isHeld := func() bool { return *holdAt > 0 && count >= *holdAt }
	for !isDone() {
		fetches := client.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachError(func(_ string, _ int32, err error) { fail(err) })
		for each := fetches.RecordIter(); !each.Done() && !isDone() && !isHeld(); {
			record := each.Next()
			count++
			positions[record.Partition] = record.Offset + 1
			value := hex.EncodeToString(record.Value)
			fmt.Fprintf(out, "record %d %d %s %s\n", record.Partition, record.Offset, record.Key, value)
			if *commitEach > 0 && count%*commitEach == 0 {
				commit(ctx, client)
			}
		}
		out.Flush()
		if isHeld() {
			say("holding")
			client.AllowRebalance()
			time.Sleep(time.Hour)
		}
		client.AllowRebalance()
	}
	say("done")
}
