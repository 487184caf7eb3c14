// The whole graph in a strip, with the part that the viewport shows. Painted once a graph, pixel by
// pixel; moving the viewport moves a frame over it.

import { type PointerEvent, type RefObject, useEffect, useImperativeHandle, useRef } from "react";
import { firstVisible, type Flame, levelCount } from "../profile/flame";
import { canvasColors } from "../style/theme";
import type { Coloring } from "./coloring";
import { type Grows, ROW_HEIGHT, type Size, type Viewport } from "./viewport";

const HEIGHT = 40;

export interface MinimapHandle {
  show: (view: Viewport) => void;
}

interface Props {
  flame: Flame;
  coloring: Coloring;
  grows: Grows;
  size: Size;
  view: RefObject<Viewport>;
  handle: RefObject<MinimapHandle | null>;
  onMove: (view: Viewport) => void;
}

export function Minimap({ flame, coloring, grows, size, view, handle, onMove }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const window_ = useRef<HTMLDivElement>(null);
  const depth = levelCount(flame) * ROW_HEIGHT;

  const show = (now: Viewport) => {
    const frame = window_.current;
    if (!frame) return;
    const top = Math.min(1, now.scroll / depth);
    const height = Math.min(1 - top, size.height / depth);
    frame.style.left = `${now.left * 100}%`;
    frame.style.width = `${now.span * 100}%`;
    frame.style.top = `${(grows === "icicle" ? top : 1 - top - height) * 100}%`;
    frame.style.height = `${height * 100}%`;
  };
  useImperativeHandle(handle, () => ({ show }));

  useEffect(() => {
    // After the graph itself: it must not wait for its map.
    const frame = requestAnimationFrame(() => {
      if (canvas.current) paintMap(canvas.current, flame, coloring, grows);
      show(view.current);
    });
    return () => cancelAnimationFrame(frame);
  }, [flame, coloring, grows, size.width, size.height]);

  const move = (event: PointerEvent<HTMLDivElement>) => {
    if ((event.buttons & 1) === 0) return;
    const box = event.currentTarget.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    const y = (event.clientY - box.top) / box.height;
    const { span } = view.current;
    const fromRoot = grows === "icicle" ? y : 1 - y;
    onMove({ span, left: x - span / 2, scroll: fromRoot * depth - size.height / 2 });
  };

  return (
    <div
      className="minimap"
      aria-hidden="true"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        move(event);
      }}
      onPointerMove={move}
    >
      <canvas ref={canvas} />
      <div ref={window_} className="minimap-window" />
    </div>
  );
}

function paintMap(canvas: HTMLCanvasElement, flame: Flame, coloring: Coloring, grows: Grows): void {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  const height = Math.round(HEIGHT * ratio);
  if (width === 0) return;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  const pixels = rgba(context, [canvasColors().back, ...coloring.fills]);
  const image = context.createImageData(width, height);
  const out = new Uint32Array(image.data.buffer);
  const levels = levelCount(flame);
  for (let y = 0; y < height; y++) {
    const fromRoot = grows === "icicle" ? y : height - 1 - y;
    const depth = Math.floor((fromRoot / height) * levels);
    paintRow(out.subarray(y * width, (y + 1) * width), flame, coloring.of, pixels, depth);
  }
  context.putImageData(image, 0, 0);
}

function paintRow(out: Uint32Array, flame: Flame, colors: Uint8Array, pixels: Uint32Array, depth: number): void {
  out.fill(pixels[0]!);
  const width = out.length;
  const end = flame.levelStart[depth + 1]!;
  for (let node = flame.levelStart[depth]!; node < end; ) {
    const left = Math.floor(flame.x[node]! * width);
    const right = Math.max(left + 1, Math.floor((flame.x[node]! + flame.width[node]!) * width));
    if (flame.width[node]! > 0) out.fill(pixels[colors[node]! + 1]!, left, Math.min(width, right));
    node = Math.max(node + 1, firstVisible(flame, depth, right / width));
  }
}

/** Colours as the four bytes that an image holds, by painting them. */
function rgba(context: CanvasRenderingContext2D, fills: string[]): Uint32Array {
  fills.forEach((fill, i) => {
    context.fillStyle = fill;
    context.fillRect(i, 0, 1, 1);
  });
  return new Uint32Array(context.getImageData(0, 0, fills.length, 1).data.buffer);
}
