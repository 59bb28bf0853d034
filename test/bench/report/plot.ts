import type { Chart } from '../benchmark.ts';

const width = 900;
const margin = 24;
const labelWidth = 140;
const valueWidth = 110;
const barHeight = 18;
const barPitch = 24;
const chartGap = 46;
const colours = ['#1f7a4d', '#8a8a8a', '#c9c9c9'];

/** Draws charts under each other as an SVG picture: horizontal bars, each chart to its own scale. */
export function plot(charts: readonly Chart[]): string {
  const parts: string[] = [];
  let y = margin;
  for (const { title, unit, bars } of charts) {
    const largest = Math.max(...bars.map(({ value }) => value));
    parts.push(text(margin, y + 12, `${title} (${unit})`, 'font-weight="bold"'));
    y += 22;
    for (const [index, { label, value }] of bars.entries()) {
      const length = Math.max(1, ((width - 2 * margin - labelWidth - valueWidth) * value) / largest);
      const x = margin + labelWidth;
      parts.push(
        text(x - 8, y + 13, label, 'text-anchor="end"'),
        `<rect x="${x}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" fill="${colours[index] ?? '#c9c9c9'}"/>`,
        text(x + length + 6, y + 13, shown(value)),
      );
      y += barPitch;
    }
    y += chartGap - barPitch;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${y}" width="${width}" height="${y}" role="img" aria-labelledby="title" font-family="Helvetica, Arial, 'Liberation Sans', sans-serif">
<title id="title">What a mint costs, beside the alternatives</title>
<rect width="${width}" height="${y}" fill="#ffffff"/>
${parts.join('\n')}
</svg>
`;
}

const shown = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

const text = (x: number, y: number, content: string, more = ''): string =>
  `<text x="${x.toFixed(1)}" y="${y}" font-size="13" fill="#222222" ${more}>${escaped(content)}</text>`;

const escaped = (content: string): string => content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
