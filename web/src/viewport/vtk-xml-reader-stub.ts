/**
 * In place of vtk.js' XML reader, which Cornerstone imports for surface meshes: it pulls in an XML
 * writer that extends Node's EventEmitter and so stops the whole page at load in a browser build.
 */
export function newInstance(): never {
  throw new Error('VTK XML meshes are not supported in this viewer.');
}

export default { newInstance };
