/** Drawing with the graphics card, by Cornerstone3D. */
import { Enums, utilities, type Types } from '@cornerstonejs/core';
import type { GreyCurve } from '../dicom-model/shade';
import * as view from '../geometry/view';
import { cornerstoneImage, forgetImage, renderingEngine } from './engine';
import type { LoadedFrame } from './images';
import type { Aim, Drawn, Look, Surface } from './surface';

export class GlSurface implements Surface {
  private readonly viewport: Types.IStackViewport;
  private imageId: string | null = null;

  constructor(
    private readonly element: HTMLDivElement,
    private readonly id: string,
    private readonly drawn: Drawn,
  ) {
    const engine = renderingEngine();
    engine.enableElement({
      viewportId: id,
      type: Enums.ViewportType.STACK,
      element,
      defaultOptions: { background: [0, 0, 0] },
    });
    this.viewport = engine.getViewport(id) as Types.IStackViewport;
    element.addEventListener(Enums.Events.IMAGE_RENDERED, this.drawn);
  }

  show(image: LoadedFrame): void {
    const before = this.imageId;
    const csImage = cornerstoneImage(image);
    this.imageId = csImage.imageId;
    this.viewport.renderImageObject(csImage);
    if (before && before !== this.imageId) forgetImage(before);
  }

  look({ curve, range, smooth }: Look): void {
    const { InterpolationType } = Enums;
    const interpolationType = smooth ? InterpolationType.LINEAR : InterpolationType.NEAREST;
    this.viewport.setProperties({ voiRange: range, interpolationType });
    if (curve) this.setCurve(curve, range);
  }

  aim({ extent, canvas, placement, zoom, pan }: Aim): void {
    this.viewport.setCamera(view.cameraFor(extent, canvas, placement, zoom, pan));
  }

  draw(): void {
    this.viewport.render();
  }

  resized(): void {
    renderingEngine().resize(true, false);
  }

  dispose(): void {
    this.element.removeEventListener(Enums.Events.IMAGE_RENDERED, this.drawn);
    if (this.imageId) forgetImage(this.imageId);
    renderingEngine().disableElement(this.id);
  }

  /** Hand the grey curve to the actor itself: linear, sigmoid and table alike, inverted or not. */
  private setCurve(points: GreyCurve, range: Look['range']): void {
    const actor = this.viewport.getDefaultActor()?.actor as unknown as GreyActor | undefined;
    const curve = utilities.createLinearRGBTransferFunction({ ...range });
    curve.removeAllPoints();
    for (const [value, shade] of points) curve.addRGBPoint(value, shade, shade, shade);
    actor?.getProperty().setRGBTransferFunction(0, curve);
  }
}

interface GreyActor {
  getProperty(): { setRGBTransferFunction(index: number, curve: unknown): void };
}
