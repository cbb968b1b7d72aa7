import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderLatchListener;
import org.apache.curator.retry.RetryOneTime;

/** A candidate at SERVER, in the queue LATCH, named ID. See `curator_candidate` in `zookeeper.rs`. */
public class Candidate {
    public static void main(String[] args) throws Exception {
        try (var client = CuratorFrameworkFactory.newClient(args[0], new RetryOneTime(100));
                var latch = new LeaderLatch(client, args[1], args[2])) {
            latch.addListener(new LeaderLatchListener() {
                @Override
                public void isLeader() {
                    System.out.println("leads");
                }

                @Override
                public void notLeader() {}
            });
            client.start();
            latch.start();
            while (System.in.read() >= 0) {
                System.out.println("leader: " + latch.getLeader().getId());
            }
        }
    }
}
