// What the routes answer, as far as this page reads it. Times are in milliseconds since 1970; -1 is not known.

export interface Leader {
  epoch: number;
  address: string;
  since: number;
  now: number;
  adopted: { jid: string; adopted: number; tasks: number; restarts: number }[];
  /** Those that the JobManager knew to lead, and since when it did. */
  known: { epoch: number; address: string; since: number }[];
}

export interface Overview {
  taskmanagers: number;
  "slots-total": number;
  "slots-available": number;
  "flink-version": string;
  "flink-commit": string;
  "store-problem": string | null;
}

/** How many tasks are in which state, by its name; those of a list in small letters, with a `total`. */
export type TaskCounts = Record<string, number>;

export interface JobLine {
  jid: string;
  name: string;
  state: string;
  "start-time": number;
  "end-time": number;
  duration: number;
  tasks: TaskCounts;
}

export interface Transferred {
  "read-bytes": number;
  "read-bytes-complete": boolean;
  "write-bytes": number;
  "write-bytes-complete": boolean;
  "read-records": number;
  "read-records-complete": boolean;
  "write-records": number;
  "write-records-complete": boolean;
}

export interface Vertex {
  id: string;
  name: string;
  operator: string | null;
  parallelism: number;
  maxParallelism: number;
  status: string;
  tasks: TaskCounts;
  metrics: Transferred;
}

export interface PlanNode {
  id: string;
  inputs?: { id: string; ship_strategy: string }[];
}

export interface Job {
  jid: string;
  name: string;
  state: string;
  "start-time": number;
  "end-time": number;
  duration: number;
  now: number;
  timestamps: Record<string, number>;
  vertices: Vertex[];
  plan: { nodes: PlanNode[] };
  restarts: number;
  "failure-cause": string | null;
}

export interface Cause {
  kind: string;
  /** Of a checkpoint that is under way. */
  triggered?: number;
  text: string;
  unblock: string;
  because: Cause[];
}

export interface Why {
  status: string;
  now: number;
  causes: Cause[];
  "next-checkpoint": Cause | null;
}

export interface Subtask {
  subtask: number;
  status: string;
  attempt: number;
  "taskmanager-id": string;
  metrics: Transferred;
}

export interface VertexDetails {
  id: string;
  name: string;
  now: number;
  subtasks: Subtask[];
}

/** What was seen of an attempt. */
export interface Attempt {
  epoch: number;
  attempt: number;
  "taskmanager-id": string | null;
  states: { state: string; timestamp: number }[];
  /** It was there before this leader. */
  older: boolean;
  "end-time": number;
}

export interface Attempts {
  now: number;
  since: number;
  "too-many": boolean;
  subtasks: { vertex: string | null; subtask: number; attempts: Attempt[] }[];
}

export interface Checkpoint {
  id: number;
  status: "IN_PROGRESS" | "COMPLETED" | "FAILED";
  checkpoint_type: string;
  is_savepoint: boolean;
  trigger_timestamp: number;
  latest_ack_timestamp: number;
  first_ack_timestamp: number;
  /** Who acknowledged last. */
  slowest: { vertex: string; subtask: number } | null;
  end_to_end_duration: number;
  state_size: number;
  num_subtasks: number;
  num_acknowledged_subtasks: number;
  external_path?: string;
  discarded?: boolean;
  failure_timestamp?: number;
  failure_message?: string;
}

export interface Checkpoints {
  counts: { restored: number; total: number; in_progress: number; completed: number; failed: number };
  latest: {
    completed: Checkpoint | null;
    savepoint: Checkpoint | null;
    failed: Checkpoint | null;
    restored: { id: number; restore_timestamp: number; external_path: string } | null;
  };
  history: Checkpoint[];
}

/** A checkpoint by vertex. Of one that is not retained the sizes are not known. */
export interface CheckpointDetails {
  tasks: Record<string, { state_size: number; num_subtasks: number; num_acknowledged_subtasks: number }>;
}

export interface CheckpointSubtasks {
  subtasks: { index: number; status: string; state_size?: number }[];
}

export interface Exceptions {
  exceptionHistory: {
    entries: {
      exceptionName: string;
      stacktrace: string;
      timestamp: number;
      taskName?: string;
      endpoint?: string;
      taskManagerId?: string;
    }[];
    truncated: boolean;
  };
}

export interface JobConfig {
  "execution-config": { "restart-strategy": string; "user-config": Record<string, string> };
}

export interface TaskManagerLine {
  id: string;
  path: string;
  timeSinceLastHeartbeat: number;
  slotsNumber: number;
  freeSlots: number;
  assignedTasks: number;
  answering: boolean;
  /** It leaves, and is given no tasks. */
  blocked?: boolean;
  incarnation: string;
  hardware: { cpuCores: number; physicalMemory: number };
}

export interface TaskManager extends TaskManagerLine {
  allocatedSlots: { jobId: string; slot: number; assignedTasks: number }[];
}

export interface Parallelism {
  changing: boolean;
  problem: string | null;
  vertices: {
    id: string;
    "graph-id": string;
    name: string;
    parallelism: number;
    maxParallelism: number;
    lowerBound: number;
    upperBound: number;
  }[];
}

export interface Triggered {
  "request-id": string;
}

export interface TriggerStatus {
  status: { id: "IN_PROGRESS" | "COMPLETED" };
  operation: { location?: string; checkpointId?: number; "failure-cause"?: { "stack-trace"?: string; class?: string } } | null;
}
