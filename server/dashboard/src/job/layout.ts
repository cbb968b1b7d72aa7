// Where the vertices of a graph stand: computed by a worker, so that a large graph does not hold up the page.

import { Graph, layout } from "@dagrejs/dagre";

export interface Question {
  width: number;
  height: number;
  nodes: string[];
  edges: [string, string][];
}

export interface Answer {
  width: number;
  height: number;
  /** The upper left corners, in the order of the question. */
  nodes: [number, number][];
  /** The points of each edge, in the order of the question. */
  edges: [number, number][][];
}

function place({ width, height, nodes, edges }: Question): Answer {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 28, ranksep: 90, marginx: 16, marginy: 16, ranker: "longest-path" });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node, { width, height });
  edges.forEach(([from, to], number) => graph.setEdge(from, to, {}, String(number)));
  layout(graph);
  const { width: w = 0, height: h = 0 } = graph.graph() as { width?: number; height?: number };
  return {
    width: w,
    height: h,
    nodes: nodes.map((node) => {
      const { x, y } = graph.node(node) as { x: number; y: number };
      return [x - width / 2, y - height / 2];
    }),
    edges: edges.map(([from, to], number) => {
      const { points = [] } = graph.edge(from, to, String(number)) as { points?: { x: number; y: number }[] };
      return points.map(({ x, y }) => [x, y]);
    }),
  };
}

self.onmessage = (message: MessageEvent<Question>) => self.postMessage(place(message.data));
