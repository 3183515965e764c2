/** A few codec workers, started before they are needed, and a queue that puts what is looked at first. */
import type { Samples } from '../dicom-model/pixels';
import type { CodecAnswer, CodecTask } from './codec.worker';

export interface DecodedLevel {
  readonly samples: Samples;
  readonly rows: number;
  readonly columns: number;
}

interface Job {
  readonly bytes: Uint8Array;
  readonly level: number;
  readonly resolve: (found: DecodedLevel) => void;
  readonly reject: (error: Error) => void;
}

const DEADLINE = 60_000;

class Lane {
  private worker: Worker | null = null;
  private job: Job | null = null;
  private id = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly free: () => void) {}

  get busy(): boolean {
    return this.job !== null;
  }

  start(): Worker {
    if (this.worker) return this.worker;
    const worker = new Worker(new URL('./codec.worker.ts', import.meta.url), { type: 'module', name: 'codec' });
    worker.onmessage = ({ data }: MessageEvent<CodecAnswer>) => this.answered(data);
    worker.onerror = () => this.fail('the codec stopped');
    this.worker = worker;
    return worker;
  }

  run(job: Job): void {
    this.job = job;
    this.id += 1;
    this.timer = setTimeout(() => this.fail(`no answer after ${DEADLINE / 1000} s`), DEADLINE);
    // A copy: the codestream stays here, to be joined with its rest.
    const bytes = job.bytes.slice();
    const task: CodecTask = { id: this.id, bytes, level: job.level };
    this.start().postMessage(task, [bytes.buffer]);
  }

  private answered(answer: CodecAnswer): void {
    const { job } = this;
    if (!job || answer.id !== this.id) return;
    this.finish();
    if ('reason' in answer) job.reject(new Error(answer.reason));
    else job.resolve(answer);
    this.free();
  }

  /** A codec that hangs or died is replaced; its job is not tried again. */
  private fail(reason: string): void {
    const { job } = this;
    this.worker?.terminate();
    this.worker = null;
    this.finish();
    job?.reject(new Error(reason));
    this.free();
  }

  private finish(): void {
    clearTimeout(this.timer);
    this.job = null;
  }
}

const count = (): number => Math.max(1, Math.min(4, (navigator.hardwareConcurrency || 2) - 1));

class CodecPool {
  private readonly lanes: Lane[] = Array.from({ length: count() }, () => new Lane(() => this.pump()));
  private readonly urgent: Job[] = [];
  private readonly patient: Job[] = [];

  /** Start every worker and decode something small in each, so that the first image finds them ready. */
  warm(): void {
    for (const lane of this.lanes) if (!lane.busy) lane.run({ ...TINY, resolve: () => undefined, reject: () => undefined });
  }

  /**
   * @param level 0 for a whole codestream; else the level of the prefix, which comes laid out over
   *   the area of the whole image.
   * @param urgent for what is on screen.
   */
  decode(bytes: Uint8Array, level: number, urgent: boolean): Promise<DecodedLevel> {
    return new Promise((resolve, reject) => {
      (urgent ? this.urgent : this.patient).push({ bytes, level, resolve, reject });
      this.pump();
    });
  }

  /** Whether something urgent finds a lane while others work at what can wait. */
  get spare(): boolean {
    return this.lanes.length > 1;
  }

  private pump(): void {
    const free = this.lanes.filter((lane) => !lane.busy);
    for (const [taken, lane] of free.entries()) {
      // The last free lane of several is kept for what is urgent.
      const patient = free.length - taken > 1 || !this.spare;
      const job = this.urgent.shift() ?? (patient ? this.patient.shift() : undefined);
      if (!job) return;
      lane.run(job);
    }
  }
}

/** Sixteen by sixteen pixels of noise, coded as a settled series is. */
const TINY_BASE64 = '/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAIEBEAB/1wACiCIkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv9VABYAYAAAAAAAOQAAAAAAbAAAAAABTv+QAAoAAAAAADkAA/+TwAAunNP3k/tT/IN7yv0k36rPuofY/3aX3Ifc++oJ+cN6SP4A9ZdCADG4AP+QAAoAAAAAAGwBA/+TwAAW3AABbcAAFuiTF2U4QfLCw9sJ/VNs9cbSffE+5zhpEMC7lwAfO1gQO0ISLL49vuWMCrYmOHGtUQIhGMC5lwBRJtRo9nDaimRAQ6uAsftVmjWNi5W5BAiQgCC3AP+QAAoAAAAAAU4CA/+TwAAvZYAAXs0AAL2kXt4OfxIlHgjpKw3AOYswynRP6YNguq0C6P4rZJQZ5z1aVXuknGlSE96f7jLf+bMVyiRX64wO1PuynZZt8BO9+1ZsxL1vcMRht/ajGitkIqH8YbjBAANJ5KyTwjqLkIAgDGALkQG2MrP9OfDZVj4sSYW6AQQutVpTxm+K5ZeiE5TKSzEPDoHBN1cgClpIjDYRRBeZ/dAYWjCxyId6ccuHKL2K4S6L29fkeCh+bp0KKTLVIWUodjzB1AUTw1VaNWgC4pFaEMDQDGAHMwH0h7S6QN2SfAr+w77QcHuwLV8tl/3YBZj+CU1OYteUawXEn+VODiE90oUPvXE4UCYFeNFnheJyyJ2x2xTZSjrS1Y7gh4QPGi4MvkLDoiAX+6eZEu3qPUV14gApykDDqEhoZAEakIAnMAH/2Q==';
const TINY = { bytes: Uint8Array.from(atob(TINY_BASE64), (c) => c.charCodeAt(0)), level: 0 };

let pool: CodecPool | null = null;

/** The pool of the page; its workers start at the first call of `warm` or `decode`. */
export function codecPool(): CodecPool {
  pool ??= new CodecPool();
  return pool;
}
