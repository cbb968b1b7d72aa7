// A table of any length: only the rows in sight are in the document, and it says how many there are. It scrolls with the
// page. Columns whose title is a button sort.

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

export interface Column<R> {
  key: string;
  title: string;
  cell: (row: R) => ComponentChildren;
  /** By what the rows can be sorted. */
  by?: (row: R) => string | number;
  /** Columns that are `wide` are left out on narrow screens; numbers stand on the right. */
  look?: string;
}

interface Props<R> {
  label: string;
  rows: R[];
  columns: Column<R>[];
  id: (row: R) => string;
  /** Shown instead of rows. */
  empty: ComponentChildren;
  selected?: string | undefined;
}

/** How high a row is, in `rem`, as the style sheet has it. */
const ROW_REM = 2.6;
/** So many rows more than can be seen are drawn, above and below. */
const AROUND = 12;

interface Order {
  key: string;
  down: boolean;
}

/** Which rows are in sight. */
function useSight(count: number) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [sight, setSight] = useState({ first: 0, last: 60, height: 40 });
  const measure = useRef<() => void>(() => undefined);
  measure.current = () => {
    if (body.current === null) return;
    const height = ROW_REM * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const above = -body.current.getBoundingClientRect().top;
    const first = Math.max(0, Math.min(count, Math.floor(above / height)) - AROUND);
    const last = Math.max(first, Math.ceil((above + innerHeight) / height)) + AROUND;
    setSight((old) => (old.first === first && old.last === last && old.height === height ? old : { first, last, height }));
  };
  useEffect(() => {
    let frame = 0;
    const later = () => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => measure.current());
    };
    addEventListener("scroll", later, { passive: true });
    addEventListener("resize", later);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", later);
      removeEventListener("resize", later);
    };
  }, []);
  useLayoutEffect(() => measure.current(), [count]);
  return { body, ...sight };
}

function compare(a: string | number, b: string | number): number {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

export function Table<R>({ label, rows, columns, id, empty, selected }: Props<R>) {
  const [order, setOrder] = useState<Order | undefined>();
  const sorted = useMemo(() => {
    const by = columns.find(({ key }) => key === order?.key)?.by;
    if (order === undefined || by === undefined) return rows;
    const sign = order.down ? -1 : 1;
    return [...rows].sort((a, b) => sign * compare(by(a), by(b)));
  }, [rows, columns, order]);
  const { body, first, last, height } = useSight(sorted.length);
  const shown = sorted.slice(first, last);
  const below = sorted.length - first - shown.length;
  const turn = (key: string) =>
    setOrder((old) => (old?.key !== key ? { key, down: false } : old.down ? undefined : { key, down: true }));
  const direction = (key: string) => (order?.key !== key ? "none" : order.down ? "descending" : "ascending");
  const tall = (rows: number) => (row: HTMLElement | null) => {
    if (row !== null) row.style.height = `${rows * height}px`;
  };
  const space = (rows: number) => <tr class="space" aria-hidden="true" ref={tall(rows)} />;
  if (sorted.length === 0) return <p class="empty">{empty}</p>;
  return (
    <table class="rows" aria-label={label} aria-rowcount={sorted.length + 1}>
      <thead>
        <tr aria-rowindex={1}>
          {columns.map(({ key, title, by, look }) => (
            <th key={key} scope="col" class={look} aria-sort={by && direction(key)}>
              {by ? (
                <button type="button" class="sort" onClick={() => turn(key)}>
                  {title}
                </button>
              ) : (
                title
              )}
            </th>
          ))}
        </tr>
      </thead>
      <tbody ref={body}>
        {first > 0 && space(first)}
        {shown.map((row, place) => (
          <tr key={id(row)} aria-rowindex={first + place + 2} class={id(row) === selected ? "selected" : undefined}>
            {columns.map(({ key, cell, look }) => (
              <td key={key} class={look}>
                {cell(row)}
              </td>
            ))}
          </tr>
        ))}
        {below > 0 && space(below)}
      </tbody>
    </table>
  );
}
