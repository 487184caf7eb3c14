//! `vcs.v1.VCSService`: source code at a commit. Files come from the repositories that the configuration names
//! (see [`crate::source`]), found by the repository's address, and so do commits. Nobody has to log in to GitHub
//! for that, and nobody can.

use crate::app::App;
use crate::error::ApiError;
use crate::source::{CodePlace, Commit, Wanted};
use crate::wire::vcs::v1::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult};
use std::sync::Arc;

pub(crate) struct SourceCode(pub(crate) Arc<App>);

fn not_configured() -> ConnectError {
    ApiError::unimplemented(
        "source code is not configured on this server: there is no connection to GitHub; open the file in the \
         repository itself",
    )
    .into()
}

impl VcsService for SourceCode {
    async fn github_app(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubAppRequest>,
    ) -> ServiceResult<GithubAppResponse> {
        Err(not_configured())
    }

    async fn github_login(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubLoginRequest>,
    ) -> ServiceResult<GithubLoginResponse> {
        Err(not_configured())
    }

    async fn github_refresh(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, GithubRefreshRequest>,
    ) -> ServiceResult<GithubRefreshResponse> {
        Err(not_configured())
    }

    async fn get_file(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, GetFileRequest>,
    ) -> ServiceResult<GetFileResponse> {
        let request = request.to_owned_message();
        let place = self.place(&request.repositoryURL)?;
        let below_root = match request.rootPath.trim_matches('/') {
            "" => None,
            root => Some(crate::source::CodePlace { root: root.to_owned(), ..place.clone() }),
        };
        let wanted =
            Wanted { file: &request.localPath, function: &request.functionName, revision: &request.r#ref };
        let found = self.0.sources.file(below_root.as_ref().unwrap_or(place), wanted).await?;
        Response::ok(GetFileResponse {
            content: STANDARD.encode(found.content),
            URL: found.url,
            ..Default::default()
        })
    }

    async fn get_commit(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, GetCommitRequest>,
    ) -> ServiceResult<GetCommitResponse> {
        let request = request.to_owned_message();
        let place = self.place(&request.repositoryURL)?;
        let found = self.0.sources.commits(place, &[request.r#ref]).await?;
        let commit = found.into_iter().next().map(info).unwrap_or_default();
        Response::ok(GetCommitResponse {
            message: commit.message,
            author: commit.author,
            date: commit.date,
            sha: commit.sha,
            URL: commit.URL,
            ..Default::default()
        })
    }

    async fn get_commits(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, GetCommitsRequest>,
    ) -> ServiceResult<GetCommitsResponse> {
        let request = request.to_owned_message();
        let place = self.place(&request.repository_url)?;
        let found = self.0.sources.commits(place, &request.refs).await?;
        Response::ok(GetCommitsResponse {
            commits: found.into_iter().map(info).collect(),
            ..Default::default()
        })
    }
}

impl SourceCode {
    /// Where the code of `repository` is.
    fn place(&self, repository: &str) -> Result<&CodePlace, ConnectError> {
        let sources = &self.0.sources;
        if sources.is_empty() {
            return Err(not_configured());
        }
        Ok(sources.of_repository(repository).ok_or_else(|| {
            ApiError::not_found(format_args!(
                "no source-code in the configuration has repository={repository:?}"
            ))
        })?)
    }
}

fn info(commit: Commit) -> CommitInfo {
    let author = CommitAuthor { login: commit.author, avatarURL: commit.picture, ..Default::default() };
    CommitInfo {
        message: commit.message,
        author: author.into(),
        date: commit.date,
        sha: commit.id,
        URL: commit.url,
        ..Default::default()
    }
}
