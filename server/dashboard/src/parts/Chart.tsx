// A chart of uPlot's, in the colors of the page.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

interface Props {
  label: string;
  data: uPlot.AlignedData;
  /** Called anew when the page changes its colors or the size of its letters. */
  options: (color: (name: string) => string, rem: number) => Omit<uPlot.Options, "width" | "height">;
  /** In `rem`. */
  height: number;
}

/** The size of a letter, in pixels. */
function letter(): number {
  return parseFloat(getComputedStyle(document.documentElement).fontSize);
}

/** A chart that follows its data, the width of its place, and whether it is light or dark. What it shows must also stand
 * in text beside it: its label only names it. */
export function Chart({ label, data, options, height }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(undefined);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const at = place.current;
    if (at === null) return;
    const color = (name: string) => getComputedStyle(at).getPropertyValue(`--${name}`).trim();
    let rem = letter();
    const size = () => ({ width: Math.max(160, at.clientWidth), height: height * rem });
    const draw = () => {
      rem = letter();
      chart.current?.destroy();
      chart.current = new uPlot({ ...options(color, rem), ...size() }, latest.current, at);
    };
    draw();
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", draw);
    const resized = new ResizeObserver(() => (rem === letter() ? chart.current?.setSize(size()) : draw()));
    resized.observe(at);
    return () => {
      dark.removeEventListener("change", draw);
      resized.disconnect();
      chart.current?.destroy();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => chart.current?.setData(data), [data]);
  return <div class="chart" role="img" aria-label={label} ref={place} />;
}
