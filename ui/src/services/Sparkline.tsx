import { useLayoutEffect, useRef } from "react";
import type { Timeline } from "../profile/timeline";
import { canvasColors, useTheme } from "../style/theme";

const HEIGHT = 40;

/** A line without axes: its shape, from zero. */
export function Sparkline({ timeline, label }: { timeline: Timeline; label: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useTheme();
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    const draw = () => {
      const ratio = window.devicePixelRatio || 1;
      element.width = Math.round(element.clientWidth * ratio);
      element.height = Math.round(HEIGHT * ratio);
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      const { accent, line } = canvasColors();
      paintLine(context, timeline.values, element.clientWidth, accent, line);
    };
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(element);
    return () => observer.disconnect();
  }, [timeline, theme]);
  return <canvas ref={canvas} className="sparkline" role="img" aria-label={label} />;
}

function paintLine(context: CanvasRenderingContext2D, values: (number | null)[], width: number, color: string, base: string): void {
  context.clearRect(0, 0, width, HEIGHT);
  const present = values.filter((value) => value !== null);
  const top = Math.max(...present, 0) || 1;
  const bottom = Math.min(...present, 0);
  const x = (i: number) => (values.length < 2 ? width / 2 : 1 + (i / (values.length - 1)) * (width - 2));
  const y = (value: number) => HEIGHT - 2 - ((value - bottom) / (top - bottom)) * (HEIGHT - 4);
  context.fillStyle = base;
  context.fillRect(0, HEIGHT - 1, width, 1);
  context.strokeStyle = color;
  context.fillStyle = color;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((value, i) => {
    if (value === null) return;
    const joined = i > 0 && values[i - 1] !== null;
    if (joined) context.lineTo(x(i), y(value));
    else context.moveTo(x(i), y(value));
    // A lonely point has no line: it is drawn as a dot.
    if (!joined && (i === values.length - 1 || values[i + 1] === null)) context.fillRect(x(i) - 1, y(value) - 1, 2.5, 2.5);
  });
  context.stroke();
}
