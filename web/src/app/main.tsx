/** Start of the browser app. */
import { createRoot } from 'react-dom/client';
import '../ui/tokens.css';
import '../ui/list.css';
import '../ui/jobs.css';
import '../ui/viewer.css';
import { App } from './App';

const root = document.getElementById('root');
if (!root) throw new Error('The page has no #root.');
createRoot(root).render(<App />);
