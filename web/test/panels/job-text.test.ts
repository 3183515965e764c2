import { describe, expect, it } from 'vitest';
import { readJob, type Job, type Subject } from '../../src/client/jobs';
import { jobAdvice, jobMatches, jobStep, jobTitle, progressShare, progressText, subjectText } from '../../src/panels/job-text';

const job = (part: Record<string, unknown> = {}): Job => {
  const made = readJob({ id: 'settle_series:1.2:1.3:9', workflow: 'settle_series', state: 'running', step: 'settle', ...part });
  if (!made) throw new Error('no job');
  return made;
};
const subject = (part: Partial<Subject> = {}): Subject => ({ modality: 'CT', description: 'Chest', studyDescription: '', images: 295, ...part });

describe('what a job is about', () => {
  it.each([
    [subject(), 'CT Chest'],
    [subject({ description: 'CT CHEST W/O' }), 'CT CHEST W/O'],
    [subject({ description: 'ct-thorax' }), 'ct-thorax'],
    [subject({ description: 'OCTREOTIDE' }), 'CT OCTREOTIDE'],
    [subject({ description: '', studyDescription: 'Knee', modality: 'MR' }), 'MR Knee'],
    [subject({ description: '' }), 'CT series'],
    [subject({ description: '', modality: '' }), 'a series'],
    [undefined, 'a series'],
  ])('%o is %s', (about, said) => expect(subjectText(about)).toBe(said));

  it('says what is done, with how many images', () => {
    expect(jobTitle(job(), subject())).toBe('Packing CT Chest, 295 images');
    expect(jobTitle(job({ total: 300, what: 'images' }), subject())).toBe('Packing CT Chest, 300 images');
    expect(jobTitle(job({ state: 'done' }), subject({ images: 1 }))).toBe('Packed CT Chest, 1 image');
    expect(jobTitle(job(), undefined)).toBe('Packing a series');
    expect(jobTitle(job({ workflow: 'no_such-workflow' }), undefined)).toBe('No such workflow');
    expect(jobTitle(job({ workflow: '' }), undefined)).toBe('Unnamed work');
  });
});

describe('how far it is', () => {
  it.each([
    [{ done: 120, total: 295, what: 'images' }, '120 of 295 images', 120 / 295],
    [{ done: 12000, what: 'frames' }, '12,000 frames', null],
    [{}, '', null],
    [{ done: 9, total: 3 }, '9 of 3', 1],
  ])('%o', (part, text, share) => {
    expect(progressText(job(part))).toBe(text);
    expect(progressShare(job(part))).toBe(share);
  });

  it('says the step in words', () => {
    expect(jobStep(job())).toContain('Packing the images');
    expect(jobStep(job({ step: 'send_all' }))).toBe('Step: send all');
    expect(jobStep(job({ state: 'waiting' }))).toBe('Waits for its turn');
    expect(jobStep(job({ state: 'waiting', attempts: 2 }))).toContain('again');
    expect(jobStep(job({ state: 'failed', asked: 'retry' }))).toContain('in a moment');
    expect(jobStep(job({ state: 'done' }))).toBe('');
  });
});

it('says what to do about a failure', () => {
  const failed = (error: string): string => jobAdvice(job({ state: 'failed', error }));
  expect(failed('2 landed objects of a series are damaged; it was not settled.')).toContain('fsck');
  expect(failed('Its worker died 5 times at the same step.')).toContain('work.log');
  expect(failed('This version has no workflow nothing.')).toContain('version');
  expect(failed('The store does not answer.')).toContain('when the store');
  expect(failed('Something else.')).toContain('Retry');
  expect(jobAdvice(job())).toBe('');
});

it('is found by its words', () => {
  expect(jobMatches(job(), subject(), 'chest  packing')).toBe(true);
  expect(jobMatches(job({ state: 'failed', error: 'No room.' }), undefined, 'room failed')).toBe(true);
  expect(jobMatches(job(), subject(), '1.3:9')).toBe(true);
  expect(jobMatches(job(), subject(), 'knee')).toBe(false);
});
