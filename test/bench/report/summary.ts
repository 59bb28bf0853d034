import type { Ratio } from '../benchmark.ts';
import type { Section } from './report.ts';

/** How a ratio stands to its targets. */
export function verdict({ value, must, aim, better }: Ratio): 'aim' | 'must' | 'missed' {
  const reaches = (target: number) => (better === 'higher' ? value >= target : value <= target);
  if (reaches(aim)) return 'aim';
  return reaches(must) ? 'must' : 'missed';
}

/** The ratios for a terminal, a line each. */
export function summary(sections: readonly Section[]): string {
  const ratios = sections.flatMap(({ findings }) => findings.ratios);
  return ratios
    .map((ratio) => `${ratio.name.padEnd(26)}${ratio.value.toFixed(2).padStart(6)}  ${verdict(ratio)}`)
    .join('\n');
}
